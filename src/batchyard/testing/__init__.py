"""Public testing tools: an in-process server, a scripted executor, builders."""
