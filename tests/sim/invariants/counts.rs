//! Counts of what a run saw, so that nobody takes a world in which nothing happened for a sound one.

/// A struct of counts with their sum and their list.
macro_rules! counts {
    ($(#[$of:meta])* struct $name:ident { $($(#[$what:meta])* $count:ident,)+ }) => {
        $(#[$of])*
        #[derive(Clone, Copy, Default, Debug)]
        pub(crate) struct $name {
            $($(#[$what])* pub(crate) $count: u64,)+
        }

        impl $name {
            pub(crate) fn add(&mut self, other: &Self) {
                $(self.$count += other.$count;)+
            }

            /// Each of them.
            pub(crate) fn all(&self) -> Vec<u64> {
                vec![$(self.$count),+]
            }
        }
    };
}

pub(super) use counts;
