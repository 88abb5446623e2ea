"""What both rclpy contract tests and node tests need: an executor spinning in a thread, and waiting with a limit."""

import contextlib
import threading
import time


@contextlib.contextmanager
def spinning(*nodes, threads=8):
    """Spin nodes on a multi-threaded executor; fails if the spinning itself failed."""
    from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor

    executor = MultiThreadedExecutor(num_threads=threads)
    for node in nodes:
        executor.add_node(node)
    failures = []

    def spin():
        try:
            executor.spin()
        except ExternalShutdownException:
            pass
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=spin, daemon=True)
    thread.start()
    try:
        yield executor
    finally:
        executor.shutdown()
        thread.join(10)
        for node in nodes:
            node.destroy_node()
    assert not failures, f"an exception ended the executor: {failures}"


def wait_for(condition, timeout_s=10.0, what="the condition"):
    """Wait until it is true; the generous limit only matters where it fails."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"{what} did not come true within {timeout_s} s"
        time.sleep(0.01)


def result(future, timeout_s=20.0):
    """Wait for a future of rclpy."""
    wait_for(future.done, timeout_s, "the answer")
    return future.result()
