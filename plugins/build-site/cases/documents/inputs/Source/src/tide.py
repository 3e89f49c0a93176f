def main():
    print("<tide>")
