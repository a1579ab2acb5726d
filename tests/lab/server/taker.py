"""A stranger that holds a port: `taker.py PORT`, until it is ended."""

import socket
import sys
import time

with socket.socket() as listener:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("0.0.0.0", int(sys.argv[1])))
    listener.listen()
    while True:
        time.sleep(3600)
