"""Where the launcher keeps things, and how it calls them on a command line."""

import errno
import os
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from tritone import resources
from tritone.diagnostics.doctor.checks.offline import unwritable
from tritone.errors import EnvironmentProblem
from tritone.launcher import interpreter
from tritone.launcher.cached import cached
from tritone.launcher.links import Links
from tritone.launcher.server_log import ServerLog
from tritone.resources.owners import check_owner, trusted


class TestLinks:
    def test_a_plain_path_needs_none(self, tmp_path):
        links = Links(tmp_path / "links")
        assert links.plain(tmp_path, "model") == tmp_path
        assert not links.folder.exists()

    @pytest.mark.parametrize("name", ["a b", "模型", "it's", "$(x)", "a:b", "a;b", "a\nb"])
    def test_what_a_command_line_or_ascii_cannot_hold_gets_one(self, tmp_path, name):
        links = Links(tmp_path / "links")
        link = links.plain(tmp_path / name, "model")
        assert link == tmp_path / "links" / "model"
        assert link.readlink() == tmp_path / name
        assert links.plain(tmp_path / name, "model") == link

    def test_texts_name_what_is_linked_each_by_its_own_name(self, tmp_path):
        links = Links(tmp_path / "links")
        folders = [tmp_path / f"family {number}" for number in (1, 2)]
        first, second = (links.plain(folder, "families") for folder in folders)
        assert first != second
        assert links.explained(f"{first}/x and {second}/x") == "{}/x and {}/x".format(*folders)


class TestInterpreter:
    def test_a_plain_environment_is_used_as_it_is(self, tmp_path):
        assert interpreter.plain_bin(Links(tmp_path / "links")) == Path(sys.executable).parent
        assert not (tmp_path / "links").exists()

    def test_another_gets_links_to_what_it_imports_from(self, tmp_path, monkeypatch):
        odd = tmp_path / "环 境"
        odd.mkdir()
        monkeypatch.setattr(sys, "prefix", str(odd))
        monkeypatch.setattr(interpreter.resources, "installed", lambda: odd)
        found = interpreter.plain_bin(Links(tmp_path / "links"))
        assert (found / "python3").samefile(sys.executable)
        places = next(found.parent.glob("lib/*/*/links.pth")).read_text("ascii").splitlines()
        assert Path(places[0]).samefile(odd)
        assert all(Path(place).is_dir() for place in places)


class TestCache:
    def test_without_a_home_it_is_a_temporary_folder_of_the_user(self, monkeypatch):
        for name in ("HOME", "XDG_CACHE_HOME", "TRITONE_CACHE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr("os.getuid", lambda: 54321)
        temporary = Path(tempfile.gettempdir())
        assert resources.default_cache_dir() == temporary / "tritone-54321/.cache/tritone"
        monkeypatch.setenv("TRITONE_CACHE", "/elsewhere")
        assert resources.default_cache_dir() == Path("/elsewhere")

    def test_a_strangers_is_refused_where_everybody_may_make_one(self, tmp_path, monkeypatch):
        cache = tmp_path / "shared" / "theirs" / "tritone"
        cache.mkdir(parents=True)
        monkeypatch.setattr("os.getuid", lambda: 54321)
        real = os.stat

        def theirs(path, **options):
            values = list(real(path, **options))
            values[4] = 12345 if str(path).startswith(str(tmp_path / "shared/")) else values[4]
            return os.stat_result(values)

        monkeypatch.setattr("os.stat", theirs)
        check_owner(cache)
        (tmp_path / "shared").chmod(0o1777)
        expected = (
            rf"{tmp_path}/shared/theirs belongs to user 12345, .*; choose another --cache-dir"
        )
        with pytest.raises(EnvironmentProblem, match=expected):
            check_owner(cache)

    def test_one_in_a_home_that_is_closed_is_left_to_what_writes_there(self, monkeypatch):
        closed = Path("/closed/home/.cache/tritone")
        real = os.stat

        def stat(path, **options):
            if str(path).startswith("/closed/home/"):
                raise PermissionError(errno.EACCES, "", str(path))
            return real("/" if str(path).startswith("/closed") else path, **options)

        monkeypatch.setattr("os.stat", stat)
        check_owner(closed)
        assert unwritable(closed).startswith("cannot be written in /closed/home (")

    def test_a_log_that_cannot_be_written(self):
        path = Path("/proc/tritone/triton.log")
        with pytest.raises(EnvironmentProblem, match=rf"{path} cannot be written .*--cache-dir"):
            ServerLog(path, echo=False)


class TestCode:
    """What may be run of a file, as `trusted` says it."""

    @pytest.fixture
    def code(self, tmp_path):
        tmp_path.chmod(0o755)
        path = tmp_path / "cache" / "kernels" / "digest" / "x.so"
        path.parent.mkdir(parents=True)
        path.touch(0o755)
        for folder in path.parents[:3]:
            folder.chmod(0o755)
        return path

    def test_ones_own(self, code):
        assert trusted(code, own=2) == code

    def test_links_are_followed_and_looked_at_where_they_lead(self, code, tmp_path):
        link = tmp_path / "link"
        link.symlink_to(code.parent)
        assert trusted(link / "x.so", own=2) == code
        code.chmod(0o777)
        with pytest.raises(EnvironmentProblem, match=rf"chmod go-w {code}$"):
            trusted(link / "x.so", own=2)

    @pytest.mark.parametrize("mode", [0o775, 0o757])
    @pytest.mark.parametrize("up", [0, 1])
    def test_a_folder_of_its_own_that_others_can_write(self, code, up, mode):
        code.parents[up].chmod(mode)
        with pytest.raises(EnvironmentProblem, match=rf"since {code.parents[up]} can be written"):
            trusted(code, own=2)

    @pytest.mark.parametrize(("mode", "fine"), [(0o775, True), (0o1777, True), (0o777, False)])
    def test_a_folder_above(self, code, mode, fine):
        code.parents[2].chmod(mode)
        if fine:
            assert trusted(code, own=2) == code
            return
        with pytest.raises(EnvironmentProblem, match=f"since {code.parents[2]} can be written"):
            trusted(code, own=2)

    @pytest.mark.parametrize("up", [0, 1, 3])
    def test_a_stranger_s(self, code, up, monkeypatch):
        place = (code, *code.parents)[up]
        real = Path.stat

        def stat(path, **options):
            values = list(real(path, **options))
            values[4] = 12345 if path == place else values[4]
            return os.stat_result(values)

        monkeypatch.setattr(Path, "stat", stat)
        with pytest.raises(EnvironmentProblem, match=r"belongs to user 12345, .*; chown \d+ "):
            trusted(code, own=2)

    def test_none(self, code):
        code.unlink()
        with pytest.raises(EnvironmentProblem, match="cannot be looked at"):
            trusted(code, own=2)


class TestCached:
    def test_concurrent_starts_share_one_complete_folder(self, tmp_path):
        results: list[Path] = []
        start = threading.Barrier(8)

        def make() -> None:
            start.wait()
            results.append(cached(tmp_path, b"contents", lambda draft: (draft / "file").touch()))

        threads = [threading.Thread(target=make) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(results) == 8
        assert list(tmp_path.iterdir()) == [results[0]]
        assert (results[0] / "file").exists()

    def test_other_contents_get_another_folder(self, tmp_path):
        one, other = (cached(tmp_path, contents, lambda _: None) for contents in (b"1", b"2"))
        assert one != other
