"""Say at the end of a test run which notebooks it executed and which stand as verified: a pytest plugin (`-p tools.report`)."""

from tools.due import is_due, verified
from tools.notebooks import BOOK, chapters


def pytest_terminal_summary(terminalreporter) -> None:
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    nodes = {getattr(report, "nodeid", "").partition("::")[0] for report in reports}
    executed = [path for path in chapters() if str(path.relative_to(BOOK.parent)) in nodes]
    if not executed:
        return
    terminalreporter.section("notebooks")
    terminalreporter.line(f"executed and compared: {', '.join(_name(path) for path in executed)}")
    for path in chapters():
        if path not in executed:
            state = "due, and not in this part of the run" if is_due(path) else f"verified on {verified(path)['date']}"
            terminalreporter.line(f"not executed: {_name(path)} ({state})")


def _name(path) -> str:
    return f"{path.parent.name}/{path.stem}"
