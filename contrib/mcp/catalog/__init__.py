"""What agents are offered: tools, the routes behind them, actions of workers, and resources."""
