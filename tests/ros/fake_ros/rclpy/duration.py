class Duration:
    def __init__(self, *, seconds=0, nanoseconds=0):
        self.nanoseconds = round(seconds * 1e9) + nanoseconds
