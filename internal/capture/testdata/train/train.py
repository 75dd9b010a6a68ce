"""Trains a logistic regression by gradient descent, with the standard library only."""
import csv
import json
import math
import os
import random

with open("config.json") as f:
    config = json.load(f)

rows = []
with open(config["data"], newline="") as f:
    for row in csv.DictReader(f):
        rows.append(([float(row[c]) for c in config["features"]], int(row[config["label"]])))

random.seed(config["seed"])
random.shuffle(rows)
held_out = rows[: len(rows) // 5]
train = rows[len(rows) // 5 :]


def probability(weights, x):
    z = weights[0] + sum(w * v for w, v in zip(weights[1:], x))
    return 1 / (1 + math.exp(-z))


weights = [0.0] * (1 + len(config["features"]))
for epoch in range(config["epochs"]):
    gradient = [0.0] * len(weights)
    for x, y in train:
        error = probability(weights, x) - y
        gradient[0] += error
        for i, v in enumerate(x):
            gradient[i + 1] += error * v
    weights = [w - config["rate"] * g / len(train) for w, g in zip(weights, gradient)]

right = sum((probability(weights, x) > 0.5) == bool(y) for x, y in held_out)
os.makedirs("models", exist_ok=True)
with open("models/model.json.tmp", "w") as f:
    json.dump({"features": config["features"], "weights": weights}, f)
os.replace("models/model.json.tmp", "models/model.json")
with open("metrics.json", "w") as f:
    json.dump({"accuracy": right / len(held_out), "held_out": len(held_out)}, f)
print(f"accuracy {right / len(held_out):.2f} on {len(held_out)} held-out rows")
