"""Small apps, one per thing that a composition must do. Run by test_graphs.py in every way that svcd can run an app."""
