"""The connections to Redis: one server, Sentinel's master, a cluster or several independent nodes, by one client.

The law of this room: it knows no key and no script. Whatever goes wrong with a server is raised as RedisUnavailable or
RedisKeyInvalid, and the error names the server.

connection               a client for a URL; errors that mean that Redis cannot serve
connection_pool          connections by TCP, TLS, socket or Sentinel
named_client             errors that name their server
cluster, cluster_map     a Redis Cluster: its client, and which master has which slots
streams, node_probe      which server holds a generation; which servers answer
"""
