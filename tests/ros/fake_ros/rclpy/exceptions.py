class ParameterException(Exception):
    pass


class ParameterAlreadyDeclaredException(ParameterException):
    pass


class ParameterNotDeclaredException(ParameterException):
    pass


class InvalidParameterTypeException(ParameterException):
    pass


class InvalidParameterValueException(ParameterException):
    pass
