"""The architecture search: study, controller, reward, candidate evaluation, Pareto front."""
