use inventory::Protocol;
use proptest::prelude::*;

use super::*;
use crate::testing::listener;

fn tcp(cookie: u64, port: u16) -> Listener {
    listener(Protocol::Tcp, cookie, port, &[])
}

#[test]
fn what_a_batch_changed_is_known_within_it() {
    let mut listeners = [tcp(1, 10), tcp(5, 50)].map(Arc::new).to_vec();
    let mut batch = Batch::default();
    let port = |batch: &Batch, listeners: &[Arc<Listener>], cookie| {
        batch.get(listeners, (1, cookie)).map(|listener| listener.endpoint.port)
    };
    assert_eq!(port(&batch, &listeners, 5), Some(50));
    assert_eq!(port(&batch, &listeners, 4), None);
    batch.put(tcp(4, 40));
    batch.put(tcp(5, 51));
    batch.remove(tcp(1, 10).id);
    let expected = [(1, None), (4, Some(40)), (5, Some(51)), (6, None)];
    for (cookie, expected) in expected {
        assert_eq!(port(&batch, &listeners, cookie), expected, "{cookie} before");
    }
    batch.apply(&mut listeners);
    for (cookie, expected) in expected {
        assert_eq!(port(&batch, &listeners, cookie), expected, "{cookie} after");
    }
    assert_eq!(listeners, [tcp(4, 40), tcp(5, 51)].map(Arc::new));
    assert!(batch.get(&listeners, (2, 4)).is_none(), "of another namespace");
}

proptest! {
    #[test]
    fn it_arrives_where_one_change_after_the_other_does(
        batches in prop::collection::vec(prop::collection::vec((0..20_u64, any::<bool>(), any::<u16>()), 0..30), 1..5)
    ) {
        let mut expected = BTreeMap::new();
        let mut listeners = Vec::new();
        let mut batch = Batch::default();
        for changes in batches {
            for (cookie, is_there, port) in changes {
                if is_there {
                    batch.put(tcp(cookie, port));
                    expected.insert(cookie, tcp(cookie, port));
                } else {
                    batch.remove(tcp(cookie, 0).id);
                    expected.remove(&cookie);
                }
                prop_assert_eq!(batch.get(&listeners, (1, cookie)), expected.get(&cookie));
            }
            batch.apply(&mut listeners);
            prop_assert_eq!(&listeners, &expected.values().cloned().map(Arc::new).collect::<Vec<_>>());
        }
    }
}
