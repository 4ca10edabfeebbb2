"""The search: genotype -> network, cost, reward, training, report; and the command line."""
