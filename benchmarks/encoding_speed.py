"""MB/s of encoding a corpus beside the `tokenizers` library, with the same vocabulary and equal ids."""

import time
from pathlib import Path
from pydoc_data.topics import topics
from tempfile import TemporaryDirectory

import tokenizers
from side_by_side import compare

from hanlin.tokenizer.bpe import save_trained, train_bpe
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.tokenizer import Tokenizer


def main() -> None:
    texts = [
        text[start : start + 4000] for text in topics.values() for start in range(0, len(text), 4000)
    ] * 4
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    with TemporaryDirectory() as folder:
        save_trained(train_bpe(texts, TokenizerConfig(vocab_size=4096)), Path(folder))
        ours = Tokenizer.load(Path(folder))
        peer = tokenizers.Tokenizer.from_file(f"{folder}/tokenizer.json")
    assert ours.encode_batch(texts) == [one.ids for one in peer.encode_batch(texts, add_special_tokens=False)]

    def encode() -> float:
        start = time.perf_counter()
        ours.encode_batch(texts)
        return megabytes / (time.perf_counter() - start)

    def encode_peer() -> float:
        start = time.perf_counter()
        peer.encode_batch(texts, add_special_tokens=False)
        return megabytes / (time.perf_counter() - start)

    compare(f"encoding {megabytes:.1f} MB in texts of 4 kB, against tokenizers", "MB/s", encode, encode_peer)


if __name__ == "__main__":
    main()
