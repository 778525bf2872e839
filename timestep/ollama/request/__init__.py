"""A model call of the Agents SDK as the body of ``POST /api/chat``. Pure, but for `fetch`.

The steps, in their order:

1. `options`: the model settings become fields, options and headers.
2. `fetch`: remote images are fetched, where that is allowed; the only step that does I/O.
3. `messages`: the input items become messages, with `content` for what they show.
4. `tools`: tools and handoffs become function tools. `parameters` narrows their schemas to what
   the server keeps, with `refs` and `merge`.
5. `build`: all of it becomes one body, and the rules by which the answer is read. `grammar` and
   `patterns` write the ``format``.
6. `timestep.net.encoding`: the body becomes bytes.

Afterwards, when the server or the model did not do as asked:

- `repair`: the server refused the ``format``, or the answer does not match; what to ask instead.
"""
