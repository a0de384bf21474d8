"""What every package stands on: parameters, settings of floating-point numbers, forks."""
