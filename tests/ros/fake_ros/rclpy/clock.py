import time


class JumpThreshold:
    def __init__(self, *, min_forward, min_backward, on_clock_change=True):
        if min_backward is not None and min_backward.nanoseconds >= 0:
            raise ValueError("min_backward must be negative")
        self.min_forward, self.min_backward = min_forward, min_backward
        self.on_clock_change = on_clock_change


class Time:
    def __init__(self, nanoseconds):
        self.nanoseconds = nanoseconds


class JumpHandle:
    def __init__(self, clock, threshold, post_callback):
        self.clock, self.threshold, self.post_callback = clock, threshold, post_callback

    def unregister(self):
        if self in self.clock.handles:
            self.clock.handles.remove(self)


class Clock:
    """Real time, or what `set_ros_time` said last (in the real rclpy: /clock with use_sim_time)."""

    def __init__(self):
        self.handles = []
        self.simulated_ns = None

    def now(self):
        return Time(time.time_ns() if self.simulated_ns is None else self.simulated_ns)

    def create_jump_callback(self, threshold, *, pre_callback=None, post_callback=None):
        handle = JumpHandle(self, threshold, post_callback)
        self.handles.append(handle)
        return handle

    def set_ros_time(self, nanoseconds):
        before, self.simulated_ns = self.simulated_ns, nanoseconds
        for handle in list(self.handles):
            limit = handle.threshold.min_backward
            if (
                before is not None
                and limit is not None
                and nanoseconds - before <= limit.nanoseconds
            ):
                handle.post_callback(nanoseconds - before)
