"""How long tests wait for what must come. It only bounds a failure: speed is judged in `make bench` alone."""

#: enough for a machine that is several times slower and has other work on its processors
PATIENCE_S = 180.0
#: the same, in looks at a foreign process that are at least 0.05 s apart
LOOKS = 3600
