# A load like training: reads a dataset in shards, computes on each line, writes
# checkpoints. Some seconds, some hundred files opened.
import json
import os

weights = [0.0] * 16
for epoch in range(3):
    for shard in range(24):
        with open("shards/%d" % shard) as f:
            for line in f:
                *x, y = map(float, line.split())
                error = sum(a * b for a, b in zip(weights, x)) - y
                weights = [a - 0.01 * error * b for a, b in zip(weights, x)]
    with open("checkpoint.tmp", "w") as f:
        json.dump(weights, f)
    os.replace("checkpoint.tmp", "checkpoint-%d.json" % epoch)
