"""Models and methods over arrays. OpenMP threads of LightGBM, torch and implicit sleep while they wait.

A waiting thread that spins occupies a core that the working threads need: beside other work, two threads of LightGBM
took 2.6 times as long and 2.3 times the CPU. The libraries read the variable when they are loaded.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
