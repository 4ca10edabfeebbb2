"""The architecture search: study, algorithms, reward, candidate evaluation, Pareto front."""
