"""Settings that not every supported gunicorn has: a configuration file may name them all the same."""

control_socket_disable = True  # several servers in one directory would share it
