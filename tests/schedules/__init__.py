"""A deterministic simulation of the state protocol: real propagation, outbox, forwarder, peers and store logic.

Only what is around them is simulated: threads and time (`scheduler`), Redis's commands (`memory_redis`, which runs the
real scripts), and HTTP (`network`). A seed decides which thread goes on, what is lost, late or cut, which node crashes
and whose clock jumps. `checker` says what must not happen, and `run` drives it all. A failing seed replays exactly:

    cd tests && python -m schedules --seed 7 --one
"""
