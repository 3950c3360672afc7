"""Stop words and particles: data that the rules of the search terms rely on."""

from millrace.worker.store.search_terms import words_of
from millrace.worker.store.stop_words import PARTICLES, STOP_WORDS


def test_each_language_has_its_words_once() -> None:
    for language, words in STOP_WORDS.items():
        assert len(words.split()) > 20, language
        assert len(words.split()) == len(set(words.split())), language
        assert all(words_of(word) for word in words.split()), language


def test_longer_particles_come_first() -> None:
    assert len(set(PARTICLES)) == len(PARTICLES)
    assert [len(each) for each in PARTICLES] == sorted(map(len, PARTICLES), reverse=True)
