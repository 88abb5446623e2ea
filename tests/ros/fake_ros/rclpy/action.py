import threading
import time
import uuid
from enum import IntEnum

from rclpy import graph
from rclpy.node import Future


class GoalResponse(IntEnum):
    REJECT = 1
    ACCEPT = 2


class CancelResponse(IntEnum):
    REJECT = 1
    ACCEPT = 2


STATUS_SUCCEEDED, STATUS_CANCELED, STATUS_ABORTED = 4, 5, 6


class GoalId:
    def __init__(self):
        self.uuid = uuid.uuid4().bytes


class ServerGoalHandle:
    def __init__(self, request, feedback):
        self.request, self._feedback = request, feedback
        self.goal_id = GoalId()
        self.is_cancel_requested = False
        self.status = None

    def publish_feedback(self, feedback):
        self._feedback(feedback)

    def succeed(self):
        self.status = STATUS_SUCCEEDED

    def abort(self):
        self.status = STATUS_ABORTED

    def canceled(self):
        if not self.is_cancel_requested:
            raise RuntimeError("goal is not canceling")
        self.status = STATUS_CANCELED


class ActionServer:
    def __init__(
        self,
        node,
        action_type,
        action_name,
        execute_callback,
        *,
        callback_group=None,
        goal_callback=lambda goal: GoalResponse.ACCEPT,
        cancel_callback=lambda goal: CancelResponse.REJECT,
        result_timeout=900,
    ):
        self.node, self.action_type, self.name = node, action_type, node.resolve(action_name)
        self.execute, self.group = execute_callback, callback_group
        self.on_goal, self.on_cancel = goal_callback, cancel_callback
        with graph.lock:
            graph.actions[self.name] = self

    def destroy(self):
        with graph.lock:
            graph.actions.pop(self.name, None)


class Response:
    def __init__(self, status, result):
        self.status, self.result = status, result


class FeedbackMessage:
    def __init__(self, feedback):
        self.feedback = feedback


class ClientGoalHandle:
    def __init__(self, server, handle, accepted):
        self._server, self._handle, self.accepted = server, handle, accepted
        self.result = Future()

    def get_result_async(self):
        return self.result

    def cancel_goal_async(self):
        future = Future()

        def cancel():
            if self._server.on_cancel(self._handle) == CancelResponse.ACCEPT:
                self._handle.is_cancel_requested = True
            future.set_result(None)

        self._server.node.schedule(self._server.group, cancel)
        return future


class ActionClient:
    def __init__(self, node, action_type, action_name):
        self._node, self._type, self._name = node, action_type, node.resolve(action_name)

    def wait_for_server(self, timeout_sec=None):
        end = time.monotonic() + (timeout_sec or 0)
        while self._name not in graph.actions and time.monotonic() < end:
            time.sleep(0.01)
        return self._name in graph.actions

    def send_goal_async(self, goal, feedback_callback=None):
        future, server = Future(), graph.actions[self._name]
        order = threading.Lock()

        def feedback(message):
            if feedback_callback is not None:
                with order:
                    feedback_callback(FeedbackMessage(message))

        handle = ServerGoalHandle(goal, feedback)

        def offer():
            accepted = server.on_goal(goal) == GoalResponse.ACCEPT
            client = ClientGoalHandle(server, handle, accepted)
            future.set_result(client)
            if accepted:
                server.node.schedule(server.group, lambda: run(client))

        def run(client):
            result = server.execute(handle)
            client.result.set_result(Response(handle.status or STATUS_ABORTED, result))

        server.node.schedule(server.group, offer)
        return future

    def destroy(self):
        pass
