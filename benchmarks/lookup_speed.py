"""What prompt look-up gains: new tokens a second of greedy answers with and without it, in turn, on one model.

    python benchmarks/lookup_speed.py [MODEL] [ROUNDS]

Prompts that are to be edited or quoted from, and as a check one whose answer copies nothing. The texts with and without
are compared. Each answer is measured from its first token to its last.
"""

import statistics
import sys
import time
from pathlib import Path

import torch

import hanlin
from hanlin.base.records import Message
from hanlin.generate.engine import Engine
from hanlin.generate.generation import Generation
from hanlin.generate.parameters import SamplingParameters
from hanlin.generate.proposals import PromptLookup

ARTICLE = """The harbour of Weston was built in 1843 to carry slate from the quarries above the town. For sixty years
more than two hundred ships a year left it, most of them bound for Hamburg and Boston. When the railway reached the
quarries in 1903 the ships stopped coming, and the harbour filled with sand. In 1988 the council bought the basin for
one pound and let a club of volunteers clear it. Today the harbour holds forty sailing boats, a small museum in the old
weighing house, and a school that teaches children to row. Last year 31,000 people visited the museum. The council now
plans to deepen the entrance, so that larger boats can come in at low tide. The work will cost two million pounds and
take three years. The club supports the plan; fishermen fear that it will drive away the crabs."""

CODE = """def mean_of_rows(table):
    result = []
    for row in table:
        total = 0
        for value in row:
            total = total + value
        result.append(total / len(row))
    return result


def largest_of_rows(table):
    result = []
    for row in table:
        largest = row[0]
        for value in row:
            if value > largest:
                largest = value
        result.append(largest)
    return result
"""

PROMPTS = {
    "edit a text": f"Copy this text word for word, but write Easton in place of Weston.\n\n{ARTICLE}",
    "correct a text": f"Correct the spelling of this text and give the whole text back.\n\n{ARTICLE.replace('the ', 'teh ')}",
    "edit code": f"Rename the variable result to answer. Give the whole program back.\n\n```python\n{CODE}```",
    "summarise": f"Summarise this text by quoting its three most important sentences.\n\n{ARTICLE}",
    "nothing to copy": "Write a story about a fox who wants to learn to swim.",
}


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "smollm2-135m-instruct"
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    torch.set_num_threads(2)
    model = hanlin.load(Path(name), device="cpu")
    assert isinstance(model.engine, Engine)
    print(f"{model.name}, {model.engine.runner.name}, {torch.get_num_threads()} threads, {rounds} rounds")
    plain = model.engine
    ahead = Engine(plain.runner.another(1), model.tokenizer, 1, proposer=PromptLookup())
    asked = SamplingParameters(temperature=0, max_new_tokens=128)
    for title, prompt in PROMPTS.items():
        ids = model.chat_template.render(
            [Message(role="user", content=prompt)], add_generation_prompt=True
        ).ids
        pairs = []
        for _ in range(rounds):
            without, with_it = measured(plain, ids, asked), measured(ahead, ids, asked)
            pairs.append((without[0], with_it[0]))
            same = without[1].token_ids == with_it[1].token_ids
        one = with_it[1]
        ratio = sorted(after / before for before, after in pairs)
        before, after = (statistics.median(rates) for rates in zip(*pairs, strict=True))
        print(
            f"{title:<16} {before:6.1f} -> {after:6.1f} tokens/s, ratio {ratio[0]:.2f} / "
            f"{statistics.median(ratio):.2f} / {ratio[-1]:.2f}; {one.new_tokens} tokens, {one.accepted} of "
            f"{one.proposed} guesses right, {'same text' if same else 'OTHER TEXT'}",
            flush=True,
        )


def measured(engine: Engine, ids: list[int], asked: SamplingParameters) -> tuple[float, Generation]:
    """Tokens a second after the first, and the generation."""
    generation = engine.submit(ids, asked)
    while not generation.new_tokens:
        engine.step()
    start, first = time.perf_counter(), generation.new_tokens
    while engine.busy:
        engine.step()
    return (generation.new_tokens - first) / (time.perf_counter() - start), generation


if __name__ == "__main__":
    main()
