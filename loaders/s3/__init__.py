"""A lakehouse in an object store: a store to try it with, and what Spark needs for one."""
