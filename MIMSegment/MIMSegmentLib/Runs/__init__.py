"""What runs: the backend in child processes, what it is asked and answers, trainings, installations. Imports Scene."""
