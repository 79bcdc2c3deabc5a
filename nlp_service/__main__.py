"""`python -m nlp_service` is `radlabel`."""

from nlp_service.cli.app import main

if __name__ == "__main__":
    main()
