"""Everything below the page: how Chromium is started, what it may reach, what happened in it.

launch · loopback                                start a browser; serve local pages
relay · reach · request_filter · restraint       the network, closed below the page and at the page
cdp · documents · page_events                    our JavaScript in isolated worlds, the documents of a page, its events
"""
