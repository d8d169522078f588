def main(arguments, say):
    return 2
