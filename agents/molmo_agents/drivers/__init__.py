"""I/O as values: the core yields steps, a driver does them on Playwright's synchronous or asynchronous API."""
