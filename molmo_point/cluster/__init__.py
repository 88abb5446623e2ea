"""A model on the machines of a Ray cluster, behind one Pointer. Needs the extra "ray".

replica    what runs on each machine: a model with a server's queue, deadlines and batches, but without sockets
transport  requests and replies of the wire, through Ray Serve to one replica or another
pointer    starts the replicas, and is the Pointer that asks them
"""
