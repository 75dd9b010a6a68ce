# A load of nothing but opening small files.
for i in range(8000):
    with open("in/%d" % i, "rb") as f:
        f.read()
