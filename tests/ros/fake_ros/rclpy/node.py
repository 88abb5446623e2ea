import logging
import threading
import time

from rcl_interfaces.msg import ParameterDescriptor

from rclpy import graph
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock
from rclpy.exceptions import (
    InvalidParameterTypeException,
    InvalidParameterValueException,
    ParameterAlreadyDeclaredException,
    ParameterNotDeclaredException,
)
from rclpy.parameter import Parameter, judged, kind_of, refusal
from rclpy.qos import as_profile


class Node:
    def __init__(self, node_name, *, namespace="/", parameter_overrides=None, **_):
        self._name, self._namespace = node_name, namespace.rstrip("/")
        self._overrides = {p.name: p.value for p in parameter_overrides or ()}
        self._parameters, self._descriptors, self._kinds = {}, {}, {}
        self._on_set = []
        self._clock = Clock()
        # Private in rclpy, too: a subclass that takes one of these names for itself breaks the node.
        self._publishers, self._subscriptions, self._timers = [], [], []
        self._clients, self._services = [], []
        self.default_callback_group = MutuallyExclusiveCallbackGroup()
        self.executor = None

    def get_name(self):
        return self._name

    def get_clock(self):
        return self._clock

    def get_logger(self):
        return logging.getLogger(f"ros.{self._name}")

    def resolve(self, topic):
        if topic.startswith("~/"):
            return f"{self._namespace}/{self._name}/{topic[2:]}"
        return topic if topic.startswith("/") else f"{self._namespace}/{topic}"

    def schedule(self, group, work):
        executor = self.executor
        if executor is not None:
            executor.schedule(group or self.default_callback_group, work)

    def create_publisher(self, msg_type, topic, qos_profile, **_):
        publisher = graph.Publisher(self, msg_type, self.resolve(topic), as_profile(qos_profile))
        self._publishers.append(publisher)
        return publisher

    def create_subscription(self, msg_type, topic, callback, qos_profile, *, callback_group=None):
        qos = as_profile(qos_profile)
        subscription = graph.Subscription(
            self, msg_type, self.resolve(topic), callback, qos, callback_group
        )
        self._subscriptions.append(subscription)
        return subscription

    def count_publishers(self, topic):
        with graph.lock:
            return sum(publisher.topic == self.resolve(topic) for publisher in graph.publishers)

    def create_timer(self, timer_period_sec, callback, callback_group=None):
        timer = Timer(self, timer_period_sec, callback, callback_group)
        self._timers.append(timer)
        return timer

    def create_service(self, srv_type, srv_name, callback, *, callback_group=None):
        service = Service(self, srv_type, self.resolve(srv_name), callback, callback_group)
        self._services.append(service)
        with graph.lock:
            graph.services[service.name] = service
        return service

    def create_client(self, srv_type, srv_name, *, callback_group=None):
        self._clients.append(Client(self, srv_type, self.resolve(srv_name)))
        return self._clients[-1]

    def destroy_publisher(self, publisher):
        with graph.lock:
            if publisher in graph.publishers:
                graph.publishers.remove(publisher)

    def destroy_subscription(self, subscription):
        with graph.lock:
            if subscription in graph.subscriptions:
                graph.subscriptions.remove(subscription)

    def destroy_timer(self, timer):
        timer.cancel()

    def destroy_service(self, service):
        with graph.lock:
            graph.services.pop(service.name, None)

    def destroy_node(self):
        for timer in self._timers:
            timer.cancel()
        with graph.lock:
            graph.publishers[:] = [p for p in graph.publishers if p.node is not self]
            graph.subscriptions[:] = [s for s in graph.subscriptions if s.node is not self]
            for table in (graph.services, graph.actions):
                for name in [name for name, server in table.items() if server.node is self]:
                    del table[name]

    def declare_parameter(self, name, value=None, descriptor=None):
        if name in self._parameters:
            raise ParameterAlreadyDeclaredException(name)
        descriptor, kind = descriptor or ParameterDescriptor(), kind_of(value)
        parameter = Parameter(name, value=self._overrides.get(name, value))
        verdict = judged(parameter, descriptor, kind)
        if not verdict.successful:
            wrong_type = not descriptor.dynamic_typing and parameter.type_ != kind
            raise (
                InvalidParameterTypeException if wrong_type else InvalidParameterValueException
            )(f"{name}: {verdict.reason}")
        self._descriptors[name], self._kinds[name] = descriptor, kind
        self._parameters[name] = parameter
        return parameter

    def set_descriptor(self, name, descriptor):
        verdict = judged(self.get_parameter(name), descriptor, self._kinds[name])
        if not verdict.successful:
            raise InvalidParameterValueException(f"{name}: {verdict.reason}")
        self._descriptors[name] = descriptor

    def has_parameter(self, name):
        return name in self._parameters

    def get_parameter(self, name):
        if name not in self._parameters:
            raise ParameterNotDeclaredException(name)
        return self._parameters[name]

    def add_on_set_parameters_callback(self, callback):
        self._on_set.append(callback)

    def set_parameters(self, parameters):
        return [self._set(parameter) for parameter in parameters]

    def _set(self, parameter):
        name = parameter.name
        if name not in self._parameters:
            raise ParameterNotDeclaredException(name)
        descriptor = self._descriptors[name]
        if parameter.value is None and not descriptor.dynamic_typing:
            return refusal("Static parameter cannot be undeclared")
        verdict = judged(parameter, descriptor, self._kinds[name])
        # As in rclpy: type and range first, then the callbacks.
        for callback in self._on_set:
            if not verdict.successful:
                return verdict
            verdict = callback([parameter])
        if verdict.successful:
            self._parameters[name] = parameter
        return verdict


class Timer:
    def __init__(self, node, period_s, callback, group):
        self._stopped = threading.Event()
        self._node, self._period_s, self._callback, self._group = node, period_s, callback, group
        threading.Thread(target=self._tick, daemon=True).start()

    def _tick(self):
        while not self._stopped.wait(self._period_s):
            self._node.schedule(self._group, self._fire)

    def _fire(self):
        if not self._stopped.is_set():
            self._callback()

    def cancel(self):
        self._stopped.set()


class Future:
    def __init__(self):
        self._done = threading.Event()
        self._result = None

    def set_result(self, result):
        self._result = result
        self._done.set()

    def done(self):
        return self._done.is_set()

    def result(self):
        return self._result


class Service:
    def __init__(self, node, srv_type, name, callback, group):
        self.node, self.srv_type, self.name = node, srv_type, name
        self.callback, self.group = callback, group


class Client:
    def __init__(self, node, srv_type, name):
        self._node, self._type, self._name = node, srv_type, name

    def wait_for_service(self, timeout_sec=None):
        end = time.monotonic() + (timeout_sec or 0)
        while self._name not in graph.services and time.monotonic() < end:
            time.sleep(0.01)
        return self._name in graph.services

    def call_async(self, request):
        future, service = Future(), graph.services[self._name]

        def answer():
            future.set_result(service.callback(request, self._type.Response()))

        service.node.schedule(service.group, answer)
        return future
