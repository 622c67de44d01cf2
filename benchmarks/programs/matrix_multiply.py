"""The machine's limit: products of square matrices, 2,048 by 2,048, with PyTorch.

    python matrix_multiply.py float32|bfloat16

Prints floating-point operations per second for each line on stdin.
"""

import sys
import time

import torch

SIZE, PRODUCTS = 2048, 10


def main() -> None:
    left, right = torch.randn(2, SIZE, SIZE).to(getattr(torch, sys.argv[1])).unbind()
    torch.mm(left, right)
    print(f'{{"torch": "{torch.__version__}"}}', flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        for _ in range(PRODUCTS):
            torch.mm(left, right)
        rate = PRODUCTS * 2 * SIZE**3 / (time.perf_counter() - started)
        print(f'{{"flops": {rate}}}', flush=True)


if __name__ == "__main__":
    main()
