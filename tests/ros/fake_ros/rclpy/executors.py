import threading
import traceback
from collections import deque


class ExternalShutdownException(Exception):
    pass


class MultiThreadedExecutor:
    """Threads that take work whose callback group is free, the oldest first."""

    def __init__(self, num_threads=None):
        self._threads = num_threads or 4
        self._work = deque()
        self._news = threading.Condition()
        self._stopped = False
        self._failure = None

    def add_node(self, node):
        node.executor = self

    def schedule(self, group, work):
        with self._news:
            self._work.append((group, work))
            self._news.notify()

    def spin(self):
        threads = [threading.Thread(target=self._run, daemon=True) for _ in range(self._threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def shutdown(self, timeout_sec=None):
        with self._news:
            self._stopped = True
            self._news.notify_all()
        return True

    def _run(self):
        while True:
            with self._news:
                taken = self._next()
                while taken is None and not self._over():
                    self._news.wait()
                    taken = self._next()
                if taken is None or self._stopped:
                    return
            group, work = taken
            try:
                work()
            except Exception as error:
                # As in rclpy, an exception in a callback ends the spinning, which can begin again.
                traceback.print_exc()
                self._failure = error
            finally:
                group.leave()
                with self._news:
                    self._news.notify_all()

    def _over(self):
        return self._stopped or self._failure is not None

    def _next(self):
        if self._over():
            return None
        for index, (group, work) in enumerate(self._work):
            if group.enter():
                del self._work[index]
                return group, work
        return None


class SingleThreadedExecutor(MultiThreadedExecutor):
    def __init__(self):
        super().__init__(1)
