"""One answer of a model, decoded: chunks in, output items and Responses events out.

The package knows no wire. A wire's reader turns bytes into `chunks`. `reply` assembles them.
`outcome` decides what the finished answer is.
"""
