"""One child process: lines in, lines out, and the end of all that it started."""
