"""The command line: each module parses the arguments of its commands, calls one public function, and reports."""
