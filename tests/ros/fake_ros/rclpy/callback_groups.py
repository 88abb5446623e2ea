import threading


class CallbackGroup:
    exclusive = True

    def __init__(self):
        self._busy = threading.Lock()

    def enter(self):
        return not self.exclusive or self._busy.acquire(blocking=False)

    def leave(self):
        if self.exclusive:
            self._busy.release()


class MutuallyExclusiveCallbackGroup(CallbackGroup):
    pass


class ReentrantCallbackGroup(CallbackGroup):
    exclusive = False
