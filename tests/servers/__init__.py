"""The guard under real servers: each a process on the loopback interface, with a hard time limit."""
