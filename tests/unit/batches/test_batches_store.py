import shutil

import numpy as np
import pytest

from hanlin.base.errors import CheckpointError, DataError
from hanlin.base.records import SPLITS
from hanlin.batches.store import TokenStore, build_store, id_dtype
from hanlin.corpus.config import CorpusConfig
from hanlin.corpus.pipeline import build_corpus
from hanlin.corpus.shards import count_documents, read_documents


@pytest.fixture
def copied(made, tmp_path):
    return shutil.copytree(made.folder, tmp_path / "tokens")


def test_what_was_written_comes_back_document_by_document(made):
    total = 0
    for split in SPLITS:
        texts = [document.text for document in read_documents(made.corpus, split)]
        documents = [ids.tolist() for ids in made.store.documents(split)]
        assert documents == [made.tokenizer.encode(text) for text in texts]
        assert [made.tokenizer.decode(ids, skip_special=False) for ids in documents] == texts
        assert made.store.bytes(split) == sum(len(text.encode()) for text in texts)
        total += len(documents)
    assert total == count_documents(made.corpus) == 60


def test_every_document_stands_between_two_begin_tokens(made):
    begin = made.store.begin_id
    assert begin == made.tokenizer.eos_id
    ids = made.store.tokens("train").tolist()
    assert (ids[0], ids[-1]) == (begin, begin)
    # "<|endoftext|>" in a text is no begin token
    assert ids.count(begin) == count_documents(made.corpus, "train") + 1


def test_the_report_counts_what_the_files_hold(made):
    for split, counted in made.store.manifest.report.items():
        assert counted["documents"] == count_documents(made.corpus, split)
        assert counted["tokens"] == len(made.store.tokens(split)) - 1


def test_the_same_input_gives_the_same_bytes(made, tmp_path):
    build_store(made.corpus, made.tokenizer, tmp_path / "again")
    assert TokenStore(tmp_path / "again").fingerprint == made.store.fingerprint
    for file in made.folder.iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()


@pytest.mark.parametrize(("vocab_size", "dtype"), [(2**16, np.uint16), (2**16 + 1, np.uint32)])
def test_the_greatest_id_fits_the_narrowest_integer(vocab_size, dtype):
    assert id_dtype(vocab_size) is dtype
    assert np.iinfo(dtype).max >= vocab_size - 1


def test_a_file_cut_short_is_refused(copied):
    path = copied / "train.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"train\.bin is missing or cut short"):
        TokenStore(copied).tokens("train")


def test_a_missing_file_is_refused(copied):
    (copied / "valid.bin").unlink()
    with pytest.raises(CheckpointError, match=r"valid\.bin is missing"):
        next(TokenStore(copied).documents("valid"))


def test_a_changed_byte_is_found(copied):
    path = copied / "test.bin"
    path.write_bytes(b"\x07" + path.read_bytes()[1:])
    with pytest.raises(CheckpointError, match=r"test\.bin is damaged"):
        TokenStore(copied).verify()


def test_another_folder_is_no_store(made, tmp_path):
    with pytest.raises(CheckpointError, match="not a token store"):
        TokenStore(made.corpus)
    with pytest.raises(CheckpointError, match="not a corpus"):
        build_store(made.folder, made.tokenizer, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_a_corpus_without_training_text_is_refused(made, tmp_path):
    (tmp_path / "a.txt").write_text("One single text about winter and the river.")
    config = {"sources": [str(tmp_path / "a.txt")], "split": {"valid": 0.5, "test": 0.49}}
    for seed in range(50):  # until the document falls on a side that is held out
        config["split"]["seed"] = seed
        try:
            build_corpus(CorpusConfig.model_validate(config), tmp_path / "corpus")
        except DataError:
            return  # the corpus stage refuses it already
        if not count_documents(tmp_path / "corpus", "train"):
            break
    with pytest.raises(DataError, match="no training documents"):
        build_store(tmp_path / "corpus", made.tokenizer, tmp_path / "tokens")
    assert not (tmp_path / "tokens").exists()
