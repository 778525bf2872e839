"""A model call of the Agents SDK as the body of ``POST /api/chat``. Pure.

The steps, in their order:

1. `options`: the model settings become fields, options and headers.
2. `messages`: the input items become messages, with `content` for what they show. Remote images were
   fetched before, where that is allowed, by `timestep.ollama.fetched_images`.
3. `tools`: tools and handoffs become function tools. `parameters` narrows their schemas to what
   the server keeps, with `refs` and `merge`.
4. `build`: all of it becomes one body, and the rules by which the answer is read. `grammar` and
   `patterns` write the ``format``.
5. `timestep.net.encoding`: the body becomes bytes.

Afterwards, when the server or the model did not do as asked:

- `repair`: the server refused the ``format``, or the answer does not match; what to ask instead.
"""
