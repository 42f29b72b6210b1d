"""Storage of which one request fails for good."""

import itertools

REQUESTS = ("read", "files", "upload", "compare_and_swap", "delete")


class Fault:
    """Whether the request has failed."""

    struck = False


def lose_one(patch, store, number, *, done):
    """Have a store's request of this number, from 0, fail; `done`: it is carried out, and its reply lost."""
    fault, numbers = Fault(), itertools.count()

    def failing(plain):
        def request(self, *arguments, **more):
            if next(numbers) != number:
                return plain(self, *arguments, **more)
            fault.struck = True
            if done:
                plain(self, *arguments, **more)
            raise ConnectionError("the line is cut")

        return request

    for name in REQUESTS:
        patch.setattr(store, name, failing(getattr(store, name)))
    return fault
