class Parameter:
    def __init__(self, name, type_=None, value=None):
        self.name, self.type_, self.value = name, type_, value
