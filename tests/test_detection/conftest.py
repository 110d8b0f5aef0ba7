import pytest

from .people import make_people


@pytest.fixture(scope='session')
def people(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A small set of people; see ``make_people``. Not to be changed."""
    folder = tmp_path_factory.mktemp('people')
    return make_people(folder / 'set', videos=3)
