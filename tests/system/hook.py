"""A web server that notes the bodies of what is posted to it, a line each. Usage: hook.py PORT FILE"""

import socket
import sys

port, file = int(sys.argv[1]), sys.argv[2]
listener = socket.create_server(("127.0.0.1", port))
print("listening", flush=True)
while True:
    client, _ = listener.accept()
    with client, client.makefile("rb") as reader:
        first = reader.readline().decode()
        length = 0
        while (line := reader.readline().decode().strip()):
            name, _, value = line.partition(":")
            if name.lower() == "content-length":
                length = int(value)
        body = reader.read(length).decode()
        with open(file, "a") as notes:
            notes.write(f"{first.split()[1]} {body}\n")
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
