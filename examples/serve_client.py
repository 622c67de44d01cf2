"""Ask a running `jabert serve` for labels: `python examples/serve_client.py TEXT… [--url URL]`."""

import argparse

import requests


def main() -> None:
    """Print a label and its probability for each text, and the version that answered."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("texts", nargs="+")
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    given = parser.parse_args()
    answer = requests.post(f"{given.url}/invocations", json={"inputs": given.texts}, timeout=30)
    if not answer.ok:  # the reason is one sentence, which names the row
        raise SystemExit(f"{answer.status_code}: {answer.json()['message']}")
    for text, found in zip(given.texts, answer.json()["predictions"], strict=True):
        print(f"{found['label']}\t{found['score']:.3f}\t{text}")
    print(f"answered by version {answer.headers['X-Jabert-Version']}")


if __name__ == "__main__":
    main()
