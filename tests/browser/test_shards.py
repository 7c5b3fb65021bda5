"""The page of a process of a cluster: the table of shards, and the state of a stream some of whose shards are absent."""

import pytest

from tests.browser.test_page import url
from tests.cluster.test_cluster import SHARDS, Cluster, cluster, spread, whole
from tests.support.browsing import chromium, look

__all__ = ["cluster"]


@pytest.mark.long
def test_the_page_lists_the_shards_and_says_which_are_absent(cluster: Cluster):
    with (
        cluster.process("cluster.session_ms=20000") as one,
        cluster.process("cluster.session_ms=20000") as two,
        chromium() as browser,
    ):
        spread([one, two])
        whole([one, two], 6_000)
        with look(browser, url(one)) as seen:
            seen.until("document.getElementById('overview-cards').innerText.includes('shards here')")
            seen.page.evaluate("location.hash = '#words/inside'")
            rows = (
                "[...document.querySelectorAll('#shards tbody tr')].map((row) => [...row.cells].map((cell) => cell.innerText))"
            )
            seen.until(f"{rows}.length === {SHARDS} && !{rows}.flat().includes('\u2013')")
            found = seen.page.evaluate(rows)
            listed = one.get("/streams/words")["shards"]
            assert [[int(row[0]), row[1]] for row in found] == [[each["shard"], each["state"]] for each in listed]
            assert [row[4] for row in found] == [f"{each['host']}:{each['port']}, pid {each['pid']}" for each in listed]
            two.process.kill()
            two.process.wait()
            one.get("/words/CountByEventType")  # a question finds out
            seen.until("document.getElementById('story-state').innerText === 'shards absent'")
